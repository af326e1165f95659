"""Recurrent layers and writing in C++: as fast as the processor allows, equal to the plain loop within rounding."""
