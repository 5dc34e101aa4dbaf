package event_test
import "testing"
var sink uint64
func BenchmarkCalib(b *testing.B) {
	for b.Loop() { x := uint64(1); for i := 0; i < 500; i++ { x = x*6364136223846793005 + 1 }; sink += x }
}
