// Package window keeps past events by key, in order of event time, and answers
// exactly how many there are in a span of time, what they sum to, their least,
// greatest, first and last value, how far they spread, and how many different
// values they have. It knows nothing of streams or rules: a caller gives the
// bytes of a key, their hash, and up to 32 integers per event; [Store.Intern]
// makes an integer of a text.
//
// What a [Store] holds is a function of the set of events that it was given, not
// of their order. That goes for the horizon too: an event older than twice the
// horizon before its key's newest one is gone, whether it came before that or
// comes after.
//
// # Beyond exact
//
// With Spec.Windows, the newest Spec.Exact events of a key are kept one by one,
// and the others in buckets of time, at a resolution for each window that needs
// one: none wider than 1/256 of it, aligned to the epoch, kept for twice its
// reach behind the key's newest event. A span is answered from the finest that
// reaches back to its beginning. The bucket that its beginning lies in counts
// as a whole, the one that its end lies in not at all: only events within one
// bucket of an edge are mis-counted, for spans that end up to their window
// before the newest event. Spans that adjoin share no bucket and leave none out.
// (Ever has no beginning; its buckets are a day wide, or 1/256 of the longest
// window, which matters only to an event that comes so late.)
//
// All that a bucket keeps is exact: count, sums, squares, extremes, ends.
// Different values are listed, up to Spec.DistinctExact in a bucket, beyond
// which it is a HyperLogLog of 4,096 registers; Distinct is exact while the
// whole span has no more values than that, and then off by a standard error of
// 1.63 %. What has moved to a bucket can't be told apart any more: an event that
// is inserted again after that counts twice, and a span can't leave it out,
// which it need not if the event is the one at its end.
//
// # Layout
//
//	table.cur  ┌────────────────┬───┬───────────────────┬────   8 bytes a slot
//	           │ tag 24 0 ref 39│   │ tag 24 1 0 hash 32│
//	           └──────────┬─────┴───┴───────────────────┴────
//	                      ▼
//	slab       ┌────────┬───────┬───────┬───────┬────   blocks of one size class
//	           │ record │ free  │ record│ record│
//	           └────────┴───────┴───────┴───────┴────
//	            ╱        ╲
//	record     ┌────────┬─────────┬─────┬───────┬───────┬───────┬──────┐
//	           │ header │ columns │ key │ entry │ entry │ entry │ room │
//	           │ 15 B   │ 1 B each│     │       │       │       │      │
//	           └────────┴─────────┴─────┴───────┴───────┴───────┴──────┘
//	                                     ╱       ╲
//	entry      ┌──────┬────┬──────────┬─────────────────────┬────
//	           │ time │ id │ currency │ column: total count │ …
//	           │ 6 B  │ 8 B│ 0 or 2 B │ 0, 2…8 B   0 or 4 B │
//	           └──────┴────┴──────────┴─────────────────────┴────
//
// A key is one record: one run of bytes, without pointers, which moves to a
// block of the next size when it is full (four sizes to a doubling). Slabs are
// all that the garbage collector sees. The table grows by moving a few slots
// with each new key.
//
// A column holds running totals, so that a sum is the difference of two. Totals
// are kept modulo 2^(8w), in as few bytes as the key's greatest value allows: w
// is such that 128 values can't leave the range of a difference (fewer at 8
// bytes), and longer spans are summed over so many entries a step, in 128 bits.
// So nothing wraps, and a sum fails only if it does not fit itself. What most
// keys need not know takes no room: a currency per entry is kept once a key has
// seen two, a count of the entries that have a column once one lacks it, and 8
// bytes of time once one lies outside of the years 0 to 8919. An entry that
// calls for more makes the record be written anew, once per kind.
//
// A sum over a money column of a key that has seen two currencies looks at each
// entry of the span up to the second currency in it; Distinct looks at each.
// All else takes two searches. An event that comes late moves those after it in
// its key.
//
// # Cold keys
//
// A store that is saved (Track, Freeze, Changes) need not hold all keys in
// memory. Evict lets go of those that have not been inserted to for some saves:
// they are cold. An Insert brings its key back from where it was saved (Fetch);
// who asks for a key calls Load before, which writes, where IsCold, which does
// not, says so. To Find, Select, Range and AppendCanonical, a cold key is not
// there.
//
// Nothing stays of a cold key but its slot: the 24 bits of the hash that all
// slots have, the mark, 7 bits that are 0, and the 32 bits of the hash which a
// record keeps for its slot and by which the table places it when it grows. Keys
// that agree in those 56 bits have cold slots that can't be told apart, and need
// not be: there is one for each. A key in memory goes before any of them. For
// one that is not, Fetch decides: if it finds something, one of the slots
// becomes the key's; if not, the key is new to the store. So one in 2^56 keys
// that were never there is fetched in vain for each that is cold, and more only
// if somebody makes hashes collide.
//
// A key may go if all of it is in saves that are over. Its flag of change does
// not tell that of long records, whose events are saved one by one: three bits
// of a record's flags say after how many calls of Freeze, modulo 8, its last
// insert or load was. Of a key that goes, records, buckets, names and texts are
// given back, and slabs of which no block is left, but for one a size class.
//
// # Measured
//
//	go test -run '^$' -bench . ./rules/window
//
// On 4 cores at 2 GHz, with one column of amounts, keys of 16 bytes and one
// writer or reader, in ns. Warm is 256 keys in turn, cold 131,072 or 262,144 in
// no order, each key's name and record being far from the cache.
//
//	                                    warm     cold
//	insert, in order, with expiry         84    1,110
//	insert, up to 8 events late          154    1,234
//	insert of a new key                  298
//	find                                  40      345
//	find, count of 64 events             196    1,334
//	find, count of 64, one left out      209    1,362
//	find, sum of 64                      256    1,409
//	find, least and greatest of 64       645    2,096
//	find, standard deviation of 64       603    1,800
//	find, distinct of 64                 930    2,598
//	find, count of 4,096                 278
//	find, sum of 4,096                   417
//	find, standard deviation of 4,096 20,230
//	find, distinct of 4,096           43,546
//
// A key with 200,000 events and 5,000 different values in a window of a week,
// all but 16,384 of them in buckets for a week and for a day, takes 5.1 MB;
// insert takes 920 ns, count 650, sum 3,300, last 7,400, min and max or standard
// deviation 0.3 ms (the single events), distinct 2.1 ms.
//
// A name (Spec.Names) or a text takes 52 bytes and its own, once, however many
// events have it.
//
// A cold key takes 11 to 21 bytes, as full as the table is (32 for a moment after
// it doubled): 90,000 keys 11.7 bytes each, 101 with three events in memory.
// Among a million cold keys, in no order, on a busy machine: to find that a key
// is not there 190 to 240 ns (IsCold or Find), that it is cold 300 to 340, Load
// from a map 2,100 to 2,600, Evict 230 to 270 a key.
//
// None allocates, but for a new bucket, name or text. Memory, all included: a
// key of one event 73 bytes (65 without a column), another event of it 16 to 21
// (14 without). 10 million keys are 69 bytes each; the longest insert among
// them took under a millisecond, when the table doubled, and a collection of
// garbage 10 ms.
package window
