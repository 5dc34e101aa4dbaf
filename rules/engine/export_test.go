package engine

// Little state is enough for some of it to leave.
func init() { leastChunk, lookEvery = 8, 1 }
