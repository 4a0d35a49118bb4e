# The two commands: `make run` and `make test`. Each sets up what is missing, builds, and does its job.
# ARGS go to `fedact run`: make run ARGS="-f pipelines/folders.yaml"

.PHONY: run build test lint install setup distillation-study federation-study quantization-study

PREFIX ?= $(HOME)/.local
BUILT = $${CARGO_TARGET_DIR:-target}/debug
FEDACT = $(BUILT)/fedact

run: build
	$(FEDACT) run $(ARGS)

# All packages, so that `make test` has no dependency to compile again with other features.
build: setup
	cargo build --workspace

test:
	@scripts/setup.sh --tests
	OMP_WAIT_POLICY=PASSIVE cargo test --workspace

lint: setup
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

# The command and, beside it, the libraries that it loads. What is built belongs to who builds it; SUDO=sudo copies as root.
install: build
	$(SUDO) install -D $(FEDACT) $(DESTDIR)$(PREFIX)/bin/fedact
	for library in media memory work; do $(SUDO) install -D $(BUILT)/deps/libfedact_$$library.so \
		$(DESTDIR)$(PREFIX)/lib/libfedact_$$library.so || exit 1; done

# What docs/distillation.md tells: an hour on two cores; goes on where it was interrupted.
STUDY = -f pipelines/studies/distillation.yaml --artifacts artifacts/distillation-study
STUDENTS = scratch direct usual temperature share decoupled attention one-assistant two-assistants
distillation-study: build
	$(FEDACT) run $(STUDY)
	$(FEDACT) show teacher assistant second $(STUDENTS) $(STUDY) --metric top1 --against scratch \
		> docs/distillation/generated.txt
	$(FEDACT) show $(STUDENTS) $(STUDY) --metric top1 --against scratch \
		--plot docs/distillation/generated.svg --overwrite

# What docs/federation.md tells, and more: three quarters of an hour on two idle cores; goes on where it was interrupted.
FLEET = -f pipelines/studies/federation.yaml --artifacts artifacts/federation-study
UNEQUAL = two-to-one four-to-one
MIXES = equal $(UNEQUAL) sixteen-to-one straggler
SPLITS = labels-uneven labels-half labels-even quantity
CATALOGUE = tuned tuned-fedbuff asynchronous adaptive cached remembered over-selected with-deadline
# The steps of a mix beside the two strategies of all mixes.
ALL_OF_FOUR = four-to-one four-to-one-fedbuff four-to-one-long four-to-one-by-fours four-to-one-alone four-to-one-none four-to-one-passes
SAVED = $(foreach kind,tuned $(MIXES) $(SPLITS),saved-$(kind)-by-fedcompass saved-$(kind)-by-fedbuff) \
	$(foreach kind,$(UNEQUAL),saved-$(kind)-long saved-$(kind)-long-against-fours \
	$(foreach strategy,fedasync fedbuff fedcompass,saved-$(kind)-passes-by-$(strategy)))
federation-study: build
	$(FEDACT) run $(FLEET)
	$(FEDACT) show $(CATALOGUE) centre $(FLEET) --metric top1 --metric loss --metric virtual_seconds \
		--against tuned@strategy=fedavg > docs/federation/strategies.txt
	$(FEDACT) show $(CATALOGUE) $(FLEET) --metric top1 --against tuned@strategy=fedavg \
		--plot docs/federation/strategies.svg --overwrite
	$(FEDACT) show centre $(foreach kind,$(MIXES),$(kind) $(kind)-fedbuff) $(foreach kind,by-fours long passes,$(UNEQUAL:%=%-$(kind))) \
		four-to-one-alone four-to-one-none four-to-one-eight-bits $(FLEET) --metric top1 --metric virtual_seconds --metric bytes_up \
		> docs/federation/mixes.txt
	$(FEDACT) show $(ALL_OF_FOUR) $(FLEET) --metric top1 --against centre --plot docs/federation/four-to-one.svg --overwrite
	$(FEDACT) show $(foreach kind,$(SPLITS),$(kind) $(kind)-fedbuff) quantity-by-clips labels-uneven-by-share $(FLEET) \
		--metric top1 --metric loss --metric virtual_seconds > docs/federation/splits.txt
	$(FEDACT) show $(SAVED) $(FLEET) --metric time_saving --metric target_top1 > docs/federation/savings.txt

# What stages/quantize/README.md tells, and more: half an hour on two idle cores; goes on where it was interrupted.
BYTES = -f pipelines/studies/quantization.yaml --artifacts artifacts/quantization-study
KINDS = calibrated equalised corrected rounded kept automatic tuned
FIGURES = float_top1 top1 executed_top1 float_top5 top5 executed_top5 agreement executed_agreement \
	logits_snr_db executed_steps executed_logits_steps
quantization-study: build
	$(FEDACT) run $(BYTES)
	$(FEDACT) show $(KINDS) $(BYTES) $(FIGURES:%=--metric %)

setup:
	@scripts/setup.sh
