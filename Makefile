# Every target runs the same command of ./dev, which also sets up .venv. To pass arguments: make test ARGS="-k sketch".
TARGETS := demo demo-llm demo-dictionary paper service test test-peers test-slow fuzz chaos check fix docs pictures screenshots site bench bench-peers bench-index-peers bench-train gpu-check simulate scorers-league lock clean

.PHONY: help $(TARGETS)
help:
	@./dev help
$(TARGETS):
	@./dev $@ $(ARGS)
