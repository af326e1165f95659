"""The equations of the cells, run over time and depth, and the language models made of them."""
