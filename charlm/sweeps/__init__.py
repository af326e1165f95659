"""Run many trials from one file: what varies, where the trials run, and which are best."""
