"""Networks for science: operators, differential equations, inverse problems, one module a paper."""
