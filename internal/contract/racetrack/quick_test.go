package racetrack_test
import ("testing";"os";"encoding/json";"longshore/internal/contract";"longshore/internal/contract/racetrack";"longshore/internal/task")
func TestQuick(t *testing.T){ for _,d:=range []string{"sum_numbers","tiny"} { dir:="/work/main/examples/racetrack/"+d; r,_:=os.OpenRoot(dir); src:=contract.Source{Given:dir,FS:r.FS(),Dir:dir}
 t.Log(racetrack.New().Recognise(src)); tk,fs:=racetrack.New().Load(src,contract.Options{}); for _,f:=range fs {t.Log(f)}; b,_:=json.MarshalIndent(tk,""," "); t.Log(string(b))
 v,err:=task.Bind(tk,task.Request{Inputs:map[string]task.Given{"numbers":task.GivenText("[1,2]")}}); if err!=nil{t.Fatal(err)}
 x,err:=racetrack.New().Prepare(tk,task.ImageFacts{Ports:[]int{7000,7004,8080}},v); b,_=json.MarshalIndent(x,""," "); t.Log(string(b),err)}}
