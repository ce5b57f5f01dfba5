"""How a pair is trained: the start from data, the SVI loop, the tempering of its KL terms."""
