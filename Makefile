# make demo   the main job, end to end, through Airflow, on this machine
# make ui     the Airflow UI over what the demo left
# make test   lint, types, tests: what CI runs
export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false
PYTHON_BIN := .venv/bin/python
TEST_WORKERS ?= 2

.PHONY: demo ui stop test lint types tests bootstrap clean

demo: bootstrap
	@$(PYTHON_BIN) -m forge_airflow.local demo

ui: bootstrap
	@$(PYTHON_BIN) -m forge_airflow.local ui

stop:
	@$(PYTHON_BIN) -m forge_airflow.local stop

bootstrap:
	@./bootstrap

test:
	@./bootstrap --dev
	@$(MAKE) --no-print-directory lint types tests

lint:
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports --no-logo

types:
	.venv/bin/mypy -p forge -p spark_jobs -p training -p forge_airflow

# Files side by side, then what starts servers, Spark or Airflow, which want the machine for themselves.
tests:
	$(PYTHON_BIN) -m pytest -m "not slow and not (spark or s3 or airflow)" -n $(TEST_WORKERS) --dist loadfile
	$(PYTHON_BIN) -m pytest -m "not slow and (spark or s3 or airflow)"

clean:  # what runs left behind; the environments stay
	rm -rf .forge/lake .forge/runs .forge/warc .forge/progress .forge/airflow .forge/simulators
