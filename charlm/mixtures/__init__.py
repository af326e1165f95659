"""Several models as one: networks and tables of counts whose predictions are joined."""
