#!/usr/bin/env bash
# overlay.sh DIR makes, in DIR, what `go build -overlay DIR/overlay.json` needs
# for a program that is scheduled by a seed: copies of some files of the
# toolchain's own runtime, changed in a few lines. Goroutines of a synctest
# bubble then draw all that Go leaves to chance (the order of select, of maps
# and of timers, math/rand, who runs next) from one generator, seeded by
# REFUNDGUARD_SIM_SEED in the environment; and nothing is preempted. It counts
# with GOMAXPROCS=1, and without garbage collection.
set -euo pipefail
dir=$1
runtime=$(go env GOROOT)/src/runtime
mkdir -p "$dir"

# change FILE OLD NEW replaces the only line that holds OLD by NEW.
change() {
  local file=$dir/$1
  [ -f "$file" ] || cp "$runtime/$1" "$file"
  chmod u+w "$file"
  if [ "$(grep -cF -- "$2" "$file")" != 1 ]; then
    echo "overlay.sh: $(go env GOVERSION): runtime/$1 doesn't hold this line once: $2" >&2
    exit 1
  fi
  OLD=$2 NEW=$3 awk 'index($0, ENVIRON["OLD"]) { print ENVIRON["NEW"]; next } { print }' "$file" >"$file.new"
  mv "$file.new" "$file"
}

rm -f "$dir"/*.go
# What is made before the bubble begins has the same hashes in each process.
change rand.go 'if len(startupRand) >= 16 &&' '	if seed[0] = 1; false &&'
change rand.go '		if readRandom(seed[:]) != len(seed) || allZero(seed[:]) {' '		if false {'
change rand.go '	c := &mp.chacha8' '	if bubbled() {
		return simRand()
	}
	c := &mp.chacha8'
cat >>"$dir/rand.go" <<'GO'

// simState is the generator of the bubble.
var simState uint64

// bubbled reports whether the running goroutine belongs to a bubble.
//
//go:nosplit
func bubbled() bool {
	gp := getg().m.curg
	return gp != nil && gp.bubble != nil
}

//go:nosplit
func simRand() uint64 {
	if simState == 0 {
		simState = simSeed()
	}
	simState += 0xa0761d6478bd642f
	hi, lo := math.Mul64(simState, simState^0xe7037ed1a0b428db)
	return hi ^ lo
}

//go:nosplit
func simSeed() uint64 {
	seed := uint64(0)
	for _, c := range []byte(gogetenv("REFUNDGUARD_SIM_SEED")) {
		seed = seed*10 + uint64(c-'0')
	}
	return seed + 0x9e3779b97f4a7c15
}

// simRandn is cheaprandn, from the bubble's generator in a bubble.
//
//go:nosplit
func simRandn(n uint32) uint32 {
	if bubbled() {
		return uint32(simRand()>>32) % n
	}
	return cheaprandn(n)
}
GO
change select.go '		j := cheaprandn(uint32(norder + 1))' '		j := simRandn(uint32(norder + 1))'
change time.go '			t.rand = cheaprand()' '			t.rand = simRandn(1 << 30)'
# Who waits for a mutex of one that waits for the bubble's time, waits for that.
change runtime2.go '	waitReasonSyncCondWait:          true,' '	waitReasonSyncCondWait: true, waitReasonSyncMutexLock: true, waitReasonSyncRWMutexRLock: true, waitReasonSyncRWMutexLock: true,'
# A mutex changes its ways after a millisecond of the machine's time.
change sema.go 'func internal_sync_nanotime() int64 {' 'func internal_sync_nanotime() int64 {
	if bubbled() {
		return 0
	}'
# Who is made ready runs next, or waits for its turn.
change proc.go '	if randomizeScheduler && next && randn(2) == 0 {' '	if next && gp.bubble != nil && bubbled() && simRand()&3 == 0 {'
change proc.go 'func retake(now int64) uint32 {' 'func retake(now int64) uint32 {
	if now > 0 {
		return 0
	}'

{
  printf '{"Replace":{'
  sep=
  for f in "$dir"/*.go; do
    printf '%s"%s":"%s"' "$sep" "$runtime/$(basename "$f")" "$(realpath "$f")"
    sep=,
  done
  printf '}}\n'
} >"$dir/overlay.json"
