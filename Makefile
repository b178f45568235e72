# "make demo" and "make test" for a start, "make docs" for the site. Each sets up .venv by itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SAMPLE := Resources/SampleData
# dciodvfy checks DICOM objects against the standard; without it the tests that ask it are skipped.
SUDO := $(shell test "$$(id -u)" = 0 || echo sudo -n)
APT := $(SUDO) apt-get -qq -o DPkg::Lock::Timeout=60 install -y --no-install-recommends dicom3tools
APT_UPDATE := $(SUDO) apt-get -qq -o Acquire::http::Timeout=20 update
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test lint format docs clean

demo: $(VENV)/.demo
	mkdir -p demo
	$(BIN)/medsr enhance $(SAMPLE)/mr_t1_head_1.5mm.nrrd demo/enhanced.nrrd --modality MR --point-spread 1 \
		--report demo/report.json --overwrite
	$(BIN)/medsr compare $(SAMPLE)/mr_t1_head_1.5mm.nrrd bspline bspline-ibp demo/enhanced.nrrd \
		--reference $(SAMPLE)/mr_t1_head_0.75mm.nrrd --png demo/comparison.png --overwrite
	$(BIN)/medsr evaluate $(SAMPLE)/mr_t1_head_0.75mm.nrrd --task inplane-x2 --methods all
	@echo "volume:  demo/enhanced.nrrd"
	@echo "picture: demo/comparison.png"
	@echo "report:  demo/report.json"

test: $(VENV)/.test
	$(BIN)/python -m pytest

lint: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "site: site/index.html"

clean:
	rm -rf $(VENV) demo site

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) -e ".[pictures]"
	touch $@

$(VENV)/.test: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) -e ".[test]"
	@{ command -v dciodvfy || $(APT) || { $(APT_UPDATE) && $(APT); }; } >/dev/null 2>&1 </dev/null || true
	touch $@

$(VENV)/.docs: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) -e ".[docs]"
	touch $@
