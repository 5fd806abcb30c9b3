"""Models of sequences: recurrent networks, state space models, spiking networks, forecasts."""
