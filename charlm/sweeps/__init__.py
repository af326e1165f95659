"""Many runs from one file: what varies, where they run, which are best."""
