package iexec_test

import (
	"strings"
	"testing"

	"longshore/internal/task"
)

// What is of the wrong kind is reported, and not what follows from it.
func TestWrongKindsAreReportedOnce(t *testing.T) {
	for _, text := range []string{
		`{"app":"x"}`,
		`{"app":[]}`,
		`{"app":{"params":"x"}}`,
		`{"app":{"params":{"type":"DOCKER","envvars":{"XWDOCKERIMAGE":"a/b:1"}}}}`,
		`{"app":{"params":{"type":"DOCKER","envvars":"XWDOCKERIMAGE=a/b:1"}},"order":{"buy":{"params":{"dirinuri":["http://a/b"]}}}}`,
	} {
		_, findings := load(t, files{"iexec.json": text})
		if len(findings) != 1 || findings[0].Rule != "IEXEC005" || findings[0].Line == 0 {
			t.Errorf("%s: %v", text, findings)
		}
	}
	_, findings := load(t, files{"iexec.json": `{"app":{"params":null},"order":{"buy":{}}}`})
	for _, f := range findings {
		if f.Line == 0 {
			t.Errorf("has no place: %v", f)
		}
	}
}

// One fault is one finding, at the place of the fault, and with what to do.
func TestOneFaultIsOneFinding(t *testing.T) {
	const v2 = `{"app":{"name":"n","price":1,"params":{"type":"DOCKER","envvars":"XWDOCKERIMAGE=a/b:1"`
	const v5, digits = `{"app":{"name":"n","multiaddr":"a/b:1"`, "0000000000000000000000000000000000000000000000000000000000000000"
	registry := `,"license":"MIT","author":"a","logo":"http://a/b","social":{},"buyConf":{},"app":{"owner":"o","name":"n","type":"DOCKER","multiaddr":"a/b:1","checksum":"0x` + digits[1:] + `1"}}`
	for _, tc := range []struct{ text, at, want string }{
		{`{"name":"n","app":7,"work":{}}`, "7", "app is a number"},
		{`{"name":"n","app":{"type":"DOCKER","envvars":"org/image:1"}}`, `"org/image`, `"org/image:1" is not NAME=VALUE`},
		{`{"app":{"type":"DOCKER","envvars":"XWDOCKERIMAGE"}}`, `"XWDOCKERIMAGE"`, "is not NAME=VALUE"},
		{v2 + `,"neededpackages":7}}}`, "7}", "is a number"},
		{v5 + `},"order":{"requestorder":{"category":[]}}}`, "[]", "must be a whole number"},
		{v5 + `},"order":{"requestorder":{"category":-1}}}`, "-1}", "category -1 is not known"},
		{v5 + `},"order":{"requestorder":{"category":""}}}`, `""`, `category "" is not known`},
		{v5 + `},"order":{"requestorder":{"params":{"iexec_args":"","iexec_input_files":["x"]}}}}`, `"x"`, `iexec_input_files[0] "x" is not a valid URL`},
		{v5 + `},"buyConf":{"params":{"iexec_args":"a \"b"}}}`, `"a \"b"`, "unbalanced quotes"},
		{v5 + `},"buyConf":{"params":{"iexec_args":"","iexec_result_storage_provider":7}}}`, "7}", `"7" is not a valid storage provider`},
		{v5 + `},"buyConf":{"params":"{\"a\":1}"}}`, `"{`, `Unknown key "a" in params`},
		{v5 + `},"buyConf":{"tag":["gpu","x"]}}`, `"x"`, "Unknown tag x"},
		{v5 + `},"buyConf":{"tag":"0x` + strings.Repeat("f", 60) + `0100"}}`, `"0xf`, "Unknown bit 17 in tag"},
		{v5 + `},"buyConf":{"trust":"1e3"}}`, `"1e3"`, "is not a number from 0"},
		{v5 + `,"mrenclave":{"framework":"TDX","entrypoint":"p","heapSize":"1e3","fingerprint":"` + digits + `"}}}`, `"1e3"`, "Empty or negative heap size: 1e3"},
		{`{"dataset":{"checksum":"0xABC"}}`, `"0xABC"`, "is not a bytes32 hexstring"},
		{`{"dataset":{"name":"d"},"order":{"datasetorder":{"tag":["x"]}}}`, `"x"`, "Unknown tag x"},
		{`{"description":7` + registry, "7", "description is a number"},
		{`{"repo":""` + registry, "{", "the dapp registry also demands description"},
	} {
		_, findings := load(t, files{"iexec.json": tc.text})
		var got []task.Finding
		for _, f := range findings {
			if f.Severity != task.SeverityNote && f.Rule != "IEXEC061" && f.Rule != "IEXEC009" {
				got = append(got, f)
			}
		}
		if len(got) != 1 || !strings.Contains(got[0].What, tc.want) || got[0].Line != 1 || got[0].Column != strings.Index(tc.text, tc.at)+1 || got[0].Mend == "" {
			t.Errorf("%s: %v, want %s at %s", tc.text, got, tc.want, tc.at)
		}
	}
}

// Every known field of every generation has a kind, also those that no run needs.
func TestKindsOfFields(t *testing.T) {
	const v1 = `{"name":"n","app":{"type":"DOCKER","envvars":"XWDOCKERIMAGE=a/b:1"}`
	const v2 = `{"app":{"name":"n","price":1,"params":{"type":"DOCKER","envvars":"XWDOCKERIMAGE=a/b:1"}}`
	const v3 = `{"app":{"name":"n","multiaddr":"a/b:1"}`
	for _, tc := range []struct{ base, more, at, rule, want string }{
		{v1, `"work":{"cmdline":10}`, "iexec.json:1:87", "IEXEC005", "work.cmdline is a number, must be a string"},
		{v1, `"work":[]`, "", "IEXEC005", "work is a list, must be an object"},
		{v2, `"license":5`, "", "IEXEC005", "license is a number, must be a string"},
		{v2, `"social":{"github":false}`, "", "IEXEC005", "social.github is a boolean, must be a string"},
		{v2, `"dataset":"a"`, "", "IEXEC005", "dataset is a string, must be an object"},
		{v2, `"dataset":{"name":1,"price":{}}`, "", "IEXEC005", "dataset.name is a number, must be a string"},
		{v2, `"order":{"sell":{"volume":true}}`, "", "IEXEC005", "order.sell.volume is a boolean, must be a whole number"},
		{v2, `"order":{"buy":{"app":0}}`, "", "IEXEC005", "order.buy.app is a number, must be a string"},
		{v2, `"dataset":{"price":-1}`, "", "IEXEC062", "dataset.price: -1 is not a valid amount"},
		{v2, `"dataset":{"price":"1.5 nRLC"}`, "", "IEXEC062", "dataset.price: 1.5 nRLC is not a valid amount"},
		{v2, `"dataset":{"price":"0.000000001 RLC"}`, "", "", ""},
		{v2, `"category":{"workClockTimeRef":"100"}`, "", "", ""},
		{v3, `"dataset":{"multiaddr":["x"]}`, "", "IEXEC005", "dataset.multiaddr is a list, must be a string"},
		{v3, `"dapps":[{"name":1}]`, "", "IEXEC005", "dapps.*.name is a number, must be a string"},
		{v3, `"categories":[1]`, "", "IEXEC005", "categories.* is a number, must be a string"},
		{v3, `"order":{"apporder":{"appprice":"cheap"}}`, "", "IEXEC062", "order.apporder.appprice: cheap is not a valid amount"},
		{v3, `"buyConf":{"callback":1}`, "", "IEXEC005", "buyConf.callback is a number, must be a string"},
		{v3, `"dataset":null,"license":null`, "", "", ""},
		{`{"app":{"name":"n","owner":7,"multiaddr":"a/b:1"}`, `"workerpool":{"owner":{}}`, "", "IEXEC005", "app.owner is a number, must be a string"},
	} {
		_, findings := load(t, files{"iexec.json": tc.base + "," + tc.more + "}"})
		var got []task.Finding
		for _, f := range findings {
			if f.Rule == "IEXEC005" || f.Rule == "IEXEC062" {
				got = append(got, f)
			}
		}
		switch {
		case tc.rule == "" && len(got) > 0:
			t.Errorf("%s: %v", tc.more, got)
		case tc.rule == "":
		case len(got) == 0 || got[0].Rule != tc.rule || !strings.HasPrefix(got[0].What, tc.want) || got[0].Line != 1 || tc.at != "" && got[0].Position() != tc.at:
			t.Errorf("%s: %v, want %s", tc.more, got, tc.want)
		}
		for i, f := range got {
			for _, other := range got[i+1:] {
				if f == other {
					t.Errorf("%s: reported twice: %v", tc.more, f)
				}
			}
		}
	}
}
