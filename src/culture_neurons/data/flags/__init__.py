"""National flags, drawn from the geometry that laws and standards give, and pictures of them like photographs."""
