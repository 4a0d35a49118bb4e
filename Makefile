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

# What docs/federation.md tells, and more: about an hour on two idle cores; goes on where it was interrupted.
FLEET = -f pipelines/studies/federation.yaml --artifacts artifacts/federation-study
MIXES = equal two-to-one four-to-one sixteen-to-one straggler
SPLITS = labels-uneven labels-half labels-even quantity
BY_TWOS = %-in-pairs %-in-pairs-long %-by-fours
UNEQUAL = two-to-one four-to-one
# Updates weighed by clips or by share, and averages of the last versions, beside what they are to make up for.
WEIGHTS = centre four-to-one-in-pairs-long quantity@strategy=fedbuff quantity@strategy=fedavg quantity-by-clips labels-uneven@strategy=fedbuff \
	labels-uneven@strategy=fedavg labels-uneven-by-share labels-uneven-averaged four-to-one@strategy=fedbuff \
	four-to-one-averaged four-to-one-by-fours four-to-one-by-fours-averaged
SAVED = $(UNEQUAL:%=saved-%-in-pairs) $(UNEQUAL:%=saved-%-in-pairs-against-fours) \
	$(UNEQUAL:%=saved-%-in-pairs-long-against-fours) saved-in-pairs saved-in-pairs-against-fours
federation-study: build
	$(FEDACT) run $(FLEET)
	$(FEDACT) show tuned in-pairs centre over-selected with-deadline $(FLEET) --metric top1 --metric loss --metric virtual_seconds \
		--against tuned@strategy=fedavg > docs/federation/strategies.txt
	$(FEDACT) show tuned $(FLEET) --metric top1 --against tuned@strategy=fedavg \
		--plot docs/federation/strategies.svg --overwrite
	$(FEDACT) show $(MIXES) $(foreach kind,$(BY_TWOS),$(UNEQUAL:%=$(kind))) $(FLEET) --metric top1 --metric virtual_seconds \
		> docs/federation/mixes.txt
	$(FEDACT) show $(SPLITS) $(FLEET) --metric top1 --metric virtual_seconds > docs/federation/splits.txt
	$(FEDACT) show $(WEIGHTS) $(FLEET) --metric top1 --metric loss --metric virtual_seconds > docs/federation/weights.txt
	$(FEDACT) show $(foreach kind,tuned $(MIXES) $(SPLITS),saved-$(kind) saved-$(kind)-by-fedbuff) $(SAVED) $(FLEET) \
		--metric time_saving --metric target_top1 > docs/federation/savings.txt

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
