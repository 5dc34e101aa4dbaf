package zz
import ("testing";"strings";"time";"os";"github.com/goccy/go-yaml/parser")
func TestP(t *testing.T){
 defer func(){ if r:=recover(); r!=nil { t.Log("panic", r) } }()
 n := 1<<20
 in := map[string]string{"seq":strings.Repeat("[",n),"map":strings.Repeat("{",n),"mapk":strings.Repeat("{a: ",n/4),"dash":strings.Repeat("- ",n/2),"q":strings.Repeat("? ",n/2),"tag":strings.Repeat("!a ",n/3),"anchor":strings.Repeat("&a ",n/3),"alias":strings.Repeat("*a ",n/3),"closed":strings.Repeat("[",n/2)+strings.Repeat("]",n/2),
 "lines":strings.Repeat("a\n",n/2),"keys":strings.Repeat("a: b\n",n/5), "dashes":strings.Repeat("- a\n",n/4), "quote":"\""+strings.Repeat("\\n",n/2), "rules":"rules:\n"+strings.Repeat("  - {id: a, when: 'amount > 5', action: review}\n", n/48), "comments":strings.Repeat("# a\n",n/4), "block":"a: |\n"+strings.Repeat("  xxx xxx\n",n/10), "indent": func() string { b:=strings.Builder{}; for i:=0;i<1400;i++ {b.WriteString(strings.Repeat(" ",i)+"a:\n")}; return b.String()}()}[os.Getenv("CASE")]
 s:=time.Now(); _,err:=parser.ParseBytes([]byte(in),0); e:=""; if err!=nil { e=err.Error(); if len(e)>80 {e=e[:80]}}; t.Log(os.Getenv("CASE"), time.Since(s), e)
}
