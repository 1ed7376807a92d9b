package operate_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"longshore/internal/api/client"
	"longshore/internal/task"
)

// The configuration for nginx that is handed out lets through what Longshore needs: large uploads, streams, and who asks.
func TestBehindNginx(t *testing.T) {
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		if nginx, err = exec.LookPath("/usr/sbin/nginx"); err != nil {
			t.Fatalf("nginx is needed: %v (Debian: nginx-light)", err)
		}
	}
	front := freeAddress(t)
	s := start(t, t.TempDir(), "--url", "https://longshore.example.org", "--proxy", "yes")
	s.enter(t)
	pool := proxy(t, nginx, front, strings.TrimPrefix(s.url, "http://"))
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, front)
		},
	}
	defer transport.CloseIdleConnections()
	c := s.client(t, func(o *client.Options) {
		o.URL, o.HTTP = "https://longshore.example.org", &http.Client{Transport: transport}
	})
	ctx := t.Context()
	ticker(ctx, t, c) // with more than the megabyte that nginx takes by itself

	large := int64(40 << 20)
	up, err := c.Upload(ctx, func() (io.ReadCloser, error) { return io.NopCloser(io.LimitReader(zeros{}, large)), nil })
	if err != nil || up.Size != large {
		t.Fatal(up, err)
	}
	run, err := submit(ctx, c, 20)
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for l, err := range c.Log(ctx, run.ID, client.LogQuery{Follow: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if lines++; lines == 1 {
			// Nothing is held back: the first line is here while the run goes on.
			if now, err := c.Run(ctx, run.ID); err != nil || now.State.Terminal() {
				t.Errorf("%q came when the run was %s: %v", l.Content(), now.State, err)
			}
		}
	}
	var last task.State
	for e, err := range c.Events(ctx, run.ID, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if e.State != "" {
			last = e.State
		}
	}
	if lines < 10 || last != task.Succeeded {
		t.Errorf("%d pieces of log, ended %s", lines, last)
	}
	entries, err := c.Audit(ctx, client.AuditQuery{Action: "run.submit"})
	if err != nil || len(entries.Items) != 1 || entries.Items[0].Remote != "127.0.0.1" {
		t.Errorf("%+v %v", entries.Items, err)
	}
	res, err := (&http.Client{Transport: transport}).Get("https://longshore.example.org/metrics")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusNotFound {
		t.Errorf("/metrics is answered with %s", res.Status)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// proxy starts nginx with the packaged configuration, and answers the certificates to trust.
func proxy(t *testing.T, nginx, front, back string) *x509.CertPool {
	t.Helper()
	dir := t.TempDir()
	pool := selfSigned(t, dir, "longshore.example.org")
	packaged, err := os.ReadFile("../../packaging/nginx.conf")
	if err != nil {
		t.Fatal(err)
	}
	site := strings.NewReplacer("listen 443 ssl", "listen "+front+" ssl", "/etc/ssl/longshore", dir, "127.0.0.1:8470", back).Replace(string(packaged))
	whole := "worker_processes 1;\npid " + dir + "/pid;\nerror_log stderr warn;\nuser root;\nevents {}\nhttp {\naccess_log off;\n" +
		"client_body_temp_path " + dir + "/body; proxy_temp_path " + dir + "/proxy; fastcgi_temp_path " + dir + "/f; uwsgi_temp_path " + dir + "/u; scgi_temp_path " + dir + "/s;\n" + site + "}\n"
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(whole), 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(nginx, "-p", dir, "-c", file, "-g", "daemon off;")
	c.Stderr = t.Output()
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Signal(syscall.SIGTERM)
		_ = c.Wait()
	})
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) { // between two looks
		conn, err := net.Dial("tcp", front)
		if err == nil {
			conn.Close()
			return pool
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// selfSigned writes cert.pem and key.pem of a name.
func selfSigned(t *testing.T, dir, name string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return pool
}
