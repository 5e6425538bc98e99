# Every chore of the repository; CI runs the same (.ci/run). Each target first installs what this machine lacks (.ci/setup).
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL:
export PATH := $(CURDIR)/target/tools/bin:$(PATH)
CARGO_TARGET_DIR ?= target
WEIR := $(CARGO_TARGET_DIR)/release/weir
WEB_SOURCES := $(shell find web \( -name node_modules -o -name dist -o -name '.*' \) -prune -o -type f -print 2>/dev/null)
FUZZ_SECONDS ?= 300
# Most tests wait for media that flows in real time: more of them than cores can wait side by side.
export RUST_TEST_THREADS ?= 4

.PHONY: help run demo test check bench soak fix web fuzz clips release clean setup-%

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

run: setup-run release ## build and start the server
	exec $(WEIR) serve

demo: setup-demo release ## as run, with a looping test video on the first channel
	tests/clips.sh demo
	exec .ci/demo $(WEIR)

test: setup-test web clips ## every test
	cd web && npm test
	cargo test --locked

check: setup-run web ## format, lints, documentation, tidy
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --no-deps --locked
	cargo check --locked --manifest-path fuzz/Cargo.toml --target-dir $(CARGO_TARGET_DIR) --bins
	cargo test --locked --test tidy
	cd web && npm run check
	@for tool in 'cargo-deny cargo deny check' 'cargo-machete cargo machete' 'typos typos'; do \
	    read -r command recipe <<<"$$tool"; \
	    if command -v "$$command" >/dev/null; then echo "$$recipe"; $$recipe; else echo "$$recipe: not installed, skipped"; fi; done

bench: setup-bench release ## every benchmark, peers side by side
	cargo bench --locked --bench '*'
	tests/clips.sh bench
	python3 benches/peers/run.py --weir $(WEIR)
	python3 benches/api/run.py --weir $(WEIR)
	python3 benches/ladder/run.py --weir $(WEIR) --fit
	python3 benches/ladder/on_demand.py --weir $(WEIR)
	python3 benches/glass/run.py --weir $(WEIR)
	cargo build --release --locked --example load_viewers
	python3 benches/viewers/run.py --weir $(WEIR) --client $(CARGO_TARGET_DIR)/release/examples/load_viewers

soak: setup-bench release ## ten minutes of publishers that come and die in every way
	tests/clips.sh
	python3 benches/churn/run.py --weir $(WEIR)

fix: setup-run ## format, and apply what the linter can mend
	cargo fmt
	cargo clippy --fix --allow-dirty --allow-staged --all-targets --locked

web: setup-run web/dist/index.html ## build the site into web/dist

fuzz: setup-run ## run a fuzz target: make fuzz TARGET=... [FUZZ_SECONDS=300]
	@test -n "$(TARGET)" || { echo "TARGET is one of:"; ls fuzz/fuzz_targets | sed 's/\.rs$$//'; exit 2; }
	@command -v cargo-fuzz >/dev/null || cargo install --root target/tools --locked cargo-fuzz@0.13.1
	@mkdir -p fuzz/corpus/$(TARGET)
	RUSTC_BOOTSTRAP=1 cargo fuzz run $(TARGET) fuzz/corpus/$(TARGET) $(wildcard fuzz/seeds/$(TARGET)) -- -max_total_time=$(FUZZ_SECONDS)

clean: ## remove everything that was built (not the data directory)
	rm -rf target web/dist web/node_modules fuzz/target

setup-%:
	@.ci/setup $*

release: web
	cargo build --release --locked

clips:
	@tests/clips.sh

web/node_modules/.package-lock.json: web/package-lock.json
	cd web && npm ci --no-audit --no-fund
	@touch $@

web/dist/index.html: web/node_modules/.package-lock.json $(WEB_SOURCES)
	cd web && npm run build
	@touch $@
