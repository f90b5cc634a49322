# Everything a person or a build needs, in one word each. `make` alone lists them.

.DEFAULT_GOAL := help
SHELL := /bin/sh
BIN := .venv/bin
USE := .venv/.tidewire-installed
DEV := .venv/.tidewire-installed-dev
NPM := $(shell command -v npm 2>/dev/null)
export PYTHON

.PHONY: help demo serve setup test test-python test-web check bench bench-retrieval profile schema matrix fuzz simulate web system clean

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' Makefile | expand -t 20

demo: $(USE) ## Index documents, start a server, ask one question: make demo [DOCS=folder] [PORT=8400]
	@$(BIN)/tidewire demo $(if $(DOCS),"$(DOCS)") $(if $(PORT),--port "$(PORT)")

serve: $(USE) ## Start the server: make serve [PORT=8400]
	@$(BIN)/tidewire serve $(if $(PORT),--port "$(PORT)")

setup: $(DEV) ## Create .venv with everything for development

test: $(DEV) system test-python test-web ## Run every test, after installing what they need

test-python: $(DEV) $(if $(NPM),tests/end_to_end/ai_sdk/node_modules/.package-lock.json tests/end_to_end/ag_ui/node_modules/.package-lock.json web/node_modules/.package-lock.json)
	@$(BIN)/python -m pytest -n auto --dist loadfile $(ARGS)

test-web: $(if $(NPM),web/node_modules/.package-lock.json)
ifeq ($(NPM),)
	@echo "npm is not here: the tests of web/, the AI SDK and AG-UI are skipped"
else
	@cd web && npm test --silent
endif

check: $(DEV) ## Lint, format, types, import rules, file sizes
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python tools/file_budget.py

bench: $(DEV) ## Measure what benchmarks/README.md promises: make bench [ROUNDS=3] [ARGS=--write]
	@$(BIN)/python benchmarks/run.py $(if $(ROUNDS),--rounds $(ROUNDS)) $(ARGS)

bench-retrieval: $(DEV) ## Measure search over documents, beside others: make bench-retrieval [COLLECTIONS=folder] [SMALL=1] [ARGS=--write]
	@$(if $(COLLECTIONS),cd benchmarks && ../$(BIN)/python -m retrieval.quality --collections "$(abspath $(COLLECTIONS))" $(ARGS),echo "no COLLECTIONS: the quality of the ranking is left out")
	@cd benchmarks && ../$(BIN)/python -m retrieval.others $(if $(SMALL),--chunks 10000) $(ARGS)
	@cd benchmarks && ../$(BIN)/python -m retrieval.speed $(if $(SMALL),--chunks 10000) $(ARGS)

profile: $(DEV) ## Show where the time of one token goes
	@$(BIN)/python benchmarks/hotspots.py $(ARGS)

schema: $(DEV) ## Write the JSON schema of the events beside the protocol
	@$(BIN)/python tools/schema.py

matrix: $(DEV) ## Write docs/matrix.md: every model host in every dialect
	@$(BIN)/python tools/matrix_page.py

fuzz: $(DEV) ## Feed every decoder broken answers: make fuzz [ARGS="--inputs 200000 --only ChatDecoder"]
	@$(BIN)/python tools/fuzz $(ARGS)

simulate: $(DEV) ## Let many thousand small worlds live in virtual time, plain ones and ones with everything in them: make simulate [ARGS="--worlds 20000 --from 0"]
	@$(BIN)/python tests/simulation/worlds.py $(ARGS)

web: web/node_modules/.package-lock.json ## Build the console into the package
	@cd web && npm run build --silent

system: # a browser and nginx for the tests, where this machine lets us
	@sh tools/system_packages.sh

clean: ## Remove .venv and what builds leave behind
	@rm -rf .venv dist build web/node_modules tests/end_to_end/ai_sdk/node_modules tests/end_to_end/ag_ui/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(USE): pyproject.toml tools/environment.sh
	@sh tools/environment.sh .
	@touch $@

$(DEV): pyproject.toml tools/environment.sh
	@sh tools/environment.sh '.[dev]'
	@touch $@ $(USE)

%/node_modules/.package-lock.json: %/package-lock.json
	@echo "Installing the packages of $*"
	@cd $* && npm ci --silent --no-audit --no-fund && touch node_modules/.package-lock.json
