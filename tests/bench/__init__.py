"""The benchmark behind `make bench`: no gateway, a typical gateway and ours, under the same load."""
