"""From a request to the cells to fill: methods and their variants, protocols, plans, and what they
cost."""
