"""Commands whose file operations fail, one after the other, and a power failure between any two of them."""
