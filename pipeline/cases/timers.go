package cases

import (
	"container/heap"
	"slices"
)

// timer is one time that was set. It is stale once the case has another.
type timer struct {
	due int64
	id  string
}

// timers is a heap, the next one first.
type timers []timer

func (h timers) Len() int           { return len(h) }
func (h timers) Less(i, j int) bool { return h[i].due < h[j].due }
func (h timers) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *timers) Push(x any)        { *h = append(*h, x.(timer)) }

func (h *timers) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = timer{}
	*h = old[:len(old)-1]
	return last
}

// of are those that are not stale.
func (h timers) of(good func(timer) bool) timers {
	kept := slices.DeleteFunc(h, func(t timer) bool { return !good(t) })
	heap.Init(&kept)
	return kept
}
