"""Recurrent layers and writing in C++: as fast as the processor goes, equal to the plain loop within rounding."""
