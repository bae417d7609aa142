"""What goes wrong on request, in frames and in turns."""
