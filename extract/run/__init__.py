"""The extraction loop: read, encode and write, each on threads of its own."""
