"""What a network needs, and what this host has: programs, memory, open files, messages."""
