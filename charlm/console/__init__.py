"""Draw everything a person sees: progress, tables and samples. This room draws records and computes nothing."""
