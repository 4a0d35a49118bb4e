# The two commands: `make run` and `make test`. Each sets up what is missing, builds, and does its job.
# ARGS go to `fedact run`: make run ARGS="-f pipelines/folders.yaml"

.PHONY: run test lint install setup

PREFIX ?= $(HOME)/.local

run: setup
	cargo build
	cargo run --quiet -- run $(ARGS)

test: setup
	OMP_WAIT_POLICY=PASSIVE cargo test --workspace

lint: setup
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

# The command and, beside it, the libraries that it loads.
install: setup
	cargo build
	install -D target/debug/fedact $(DESTDIR)$(PREFIX)/bin/fedact
	for library in media work; do install -D target/debug/deps/libfedact_$$library.so \
		$(DESTDIR)$(PREFIX)/lib/libfedact_$$library.so || exit 1; done

setup:
	@scripts/setup.sh
