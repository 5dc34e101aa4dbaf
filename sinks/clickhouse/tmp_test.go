package clickhouse_test
import ("testing";"context";"fmt")
func q(w *world, q string) string {
	rows, err := w.conn().Query(context.Background(), q)
	if err != nil { return err.Error() }
	s := ""
	for rows.Next() { var e string; var v uint64; rows.Scan(&e,&v); s += fmt.Sprintf("%s=%d ", e, v) }
	return s
}
func BenchmarkCPU(b *testing.B) { BenchmarkSink(b); if b.N < 10 {return}; w := &world{t: b}; s,_ := shared(); w.cfg.Addr=[]string{s.Addr()}; w.cfg.Username="refundguard"; w.cfg.Password=s.Password(); w.cfg.Database="system"; w.cfg.Protocol="native"
fmt.Println(q(w, "SELECT event, value FROM system.events WHERE event IN ('OSCPUVirtualTimeMicroseconds','MergedRows','SelectedRows') OR event LIKE '%MergeTreeDataWriter%Micro%' OR event LIKE 'Merge%Milli%'"))
fmt.Println(q(w, "SELECT concat(table,'.',column) n, sum(column_data_compressed_bytes) v FROM system.parts_columns WHERE active AND database LIKE 'bench_2%' GROUP BY n ORDER BY v DESC LIMIT 14"))
fmt.Println(q(w, "SELECT table n, sum(bytes_on_disk) v FROM system.parts WHERE active AND database LIKE 'bench_2%' GROUP BY n ORDER BY v DESC LIMIT 14"))
}
