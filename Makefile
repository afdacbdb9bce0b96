# The two commands that matter are `make demo` and `make test`. Both set up the
# machine first, as root, and take a moment when that is done already.

# Some environments switch Python's cache of compiled modules off. Every start of slimtrace
# would then compile all of it, which takes longer than many a test.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
PROVISION := $(SUDO) vagrant/provision.sh
DOCKER := $(SUDO) vagrant/start-docker.sh
IMAGES := $(SUDO) /usr/bin/python3 tests/images/build.py

.DEFAULT_GOAL := help
.PHONY: help demo check test lint images clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' Makefile

demo: ## set the machine up and slim the sample Python web image
	@$(PROVISION)
	@$(DOCKER)
	@$(IMAGES) python
	@$(SUDO) $(VENV)/bin/slimtrace build slimtrace-test/python:1

# PYTEST passes arguments on: make test PYTEST="-k select -x"; -n0 runs one test after the other
ENVIRONMENT := SLIMTRACE_REQUIRE="$(SLIMTRACE_REQUIRE)" SLIMTRACE_VM_KERNELS="$(SLIMTRACE_VM_KERNELS)" \
	SLIMTRACE_ENGINES="$(SLIMTRACE_ENGINES)"
test: ## set the machine up and run the whole test suite
	@$(PROVISION) --test
	@$(DOCKER)
	@$(IMAGES)
	@$(SUDO) env $(ENVIRONMENT) $(VENV)/bin/pytest -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST)

# -m "not machine" leaves out what needs Docker, root or the kernel's tracing (tests/conftest.py); hypothesis
# tries a fifth of its examples (tests/examples.py)
check: ## run linters, types, contracts and all tests that need neither Docker nor the kernel
	@$(PROVISION) --test
	@SLIMTRACE_FEW_EXAMPLES=1 $(VENV)/bin/pytest -n 2 --dist worksteal -m "not machine" \
		--ignore tests/e2e --ignore tests/vm $(PYTEST)

lint: ## run the linters and the type checker
	@$(PROVISION) --test
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports

images: ## build the sample images that are missing or out of date
	@$(PROVISION)
	@$(DOCKER)
	@$(IMAGES)

clean: ## remove what make made in the checkout; packages and images stay
	@$(SUDO) rm -rf $(VENV) slimtrace-artifacts build dist
	@$(SUDO) rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	@$(SUDO) find . -name __pycache__ -type d -prune -exec rm -rf {} +
