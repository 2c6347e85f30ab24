"""What the product's words mean: values and pure rules. Standard library only, no clock, no I/O."""
