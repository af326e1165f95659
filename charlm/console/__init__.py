"""Everything a person sees drawn: progress, tables, samples; it draws records and computes nothing."""
