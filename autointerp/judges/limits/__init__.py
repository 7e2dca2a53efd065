"""Rate limits: how many calls may be in flight, for one process or shared through Redis."""
