"""How traces come in."""
