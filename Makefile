# Every target is a verb of ./dev, which also does the set-up.  make test ARGS="-k sketch"  passes arguments on.
TARGETS := demo demo-llm service test chaos check fix docs bench bench-peers bench-train simulate lock clean

.PHONY: help $(TARGETS)
help:
	@./dev help
$(TARGETS):
	@./dev $@ $(ARGS)
