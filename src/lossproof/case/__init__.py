"""Cases: what one is, how its file is read, and the arrays it stands for."""
