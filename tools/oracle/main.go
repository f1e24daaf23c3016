// The oracle: upstream's own API server, from its published module, over an etcd in this process. Reads requests, one JSON object
// a line ({"id", "method", "path", "headers", "body"}; instead of a body "from" and "change", see change.go), asks them one after the other as an administrator, and writes what was answered,
// one JSON object a line ({"id", "status", "type", "body"}). Nothing is interpreted here: masking and comparing is the suite's.
package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

const token = "oracle"

type request struct {
	ID      string            `json:"id"`
	Method  string            `json:"method"`
	Path    string            `json:"path"`
	Headers map[string]string `json:"headers,omitempty"`
	Body    string            `json:"body,omitempty"`
	// The request whose answer, changed, is the body.
	From   string   `json:"from,omitempty"`
	Change []change `json:"change,omitempty"`
}

type answer struct {
	ID     string `json:"id"`
	Status int    `json:"status"`
	Type   string `json:"type"`
	// Warning headers, in their order.
	Warnings []string `json:"warnings,omitempty"`
	Body     string   `json:"body"`
}

func freePort() int {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

func startEtcd(folder string) string {
	local := func() url.URL {
		return url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", freePort())}
	}
	client, peer := local(), local()
	config := embed.NewConfig()
	config.Dir = filepath.Join(folder, "etcd")
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	config.LogLevel = "error"
	config.UnsafeNoFsync = true
	server, err := embed.StartEtcd(config)
	if err != nil {
		log.Fatal(err)
	}
	<-server.Server.ReadyNotify()
	return client.String()
}

func write(path string, content []byte) string {
	if err := os.WriteFile(path, content, 0o600); err != nil {
		log.Fatal(err)
	}
	return path
}

func serviceAccountKey(folder string) string {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		log.Fatal(err)
	}
	private := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	return write(filepath.Join(folder, "sa.key"), private)
}

func startAPIServer(folder, etcd, keyFile string, more []string) *url.URL {
	tokens := write(filepath.Join(folder, "tokens.csv"), []byte(token+",admin,admin,\"system:masters\"\n"))
	port := freePort()
	command := app.NewAPIServerCommand()
	command.SetArgs(append([]string{
		"--etcd-servers=" + etcd,
		"--cert-dir=" + filepath.Join(folder, "certs"),
		"--bind-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", port),
		"--service-cluster-ip-range=10.96.0.0/16",
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + keyFile,
		"--service-account-signing-key-file=" + keyFile,
		"--token-auth-file=" + tokens,
		"--authorization-mode=Node,RBAC",
		"--allow-privileged=true",
		"--enable-aggregator-routing=false",
		"--endpoint-reconciler-type=none",
		"-v=0",
	}, more...))
	go func() { log.Fatal(command.Execute()) }()
	return &url.URL{Scheme: "https", Host: fmt.Sprintf("127.0.0.1:%d", port)}
}

type client struct {
	base *url.URL
	http *http.Client
}

func (c *client) ask(one request) (answer, error) {
	target, err := c.base.Parse(one.Path)
	if err != nil {
		return answer{}, err
	}
	asked, err := http.NewRequest(one.Method, target.String(), strings.NewReader(one.Body))
	if err != nil {
		return answer{}, err
	}
	asked.Header.Set("Authorization", "Bearer "+token)
	asked.Header.Set("User-Agent", "oracle/v1")
	asked.Header.Set("Accept", "application/json")
	if one.Body != "" {
		asked.Header.Set("Content-Type", "application/json")
	}
	for name, value := range one.Headers {
		asked.Header.Set(name, value)
	}
	response, err := c.http.Do(asked)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return answer{
		ID:       one.ID,
		Status:   response.StatusCode,
		Type:     response.Header.Get("Content-Type"),
		Warnings: response.Header.Values("Warning"),
		Body:     string(body),
	}, err
}

func (c *client) untilReady() {
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		got, err := c.ask(request{Method: "GET", Path: "/readyz"})
		if err == nil && got.Status == http.StatusOK {
			return
		}
	}
	log.Fatal("the API server did not become ready within two minutes")
}

// Prints where the server is and what its controllers need, one JSON object.
func serveUntilClosed(folder, keyFile string, base *url.URL) {
	where, err := json.Marshal(map[string]string{
		"url": base.String(), "token": token, "keyFile": keyFile,
		"caFile": filepath.Join(folder, "certs", "apiserver.crt"),
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(where))
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		log.Fatal(err)
	}
	os.RemoveAll(folder)
	os.Exit(0)
}

func main() {
	requests := flag.String("requests", "-", "file of requests, one a line")
	answers := flag.String("answers", "-", "file for the answers, one a line")
	serve := flag.Bool("serve", false, "no requests: say where the server is, and run until the input ends")
	flag.Parse()
	folder, err := os.MkdirTemp("", "oracle-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)
	in, out := os.Stdin, os.Stdout
	if *requests != "-" {
		if in, err = os.Open(*requests); err != nil {
			log.Fatal(err)
		}
	}
	if *answers != "-" {
		if out, err = os.Create(*answers); err != nil {
			log.Fatal(err)
		}
	}
	keyFile := serviceAccountKey(folder)
	base := startAPIServer(folder, startEtcd(folder), keyFile, flag.Args())
	asking := &client{base, &http.Client{
		Timeout:   time.Minute,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
	}}
	asking.untilReady()
	if *serve {
		serveUntilClosed(folder, keyFile, base)
		return
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	writer := bufio.NewWriter(out)
	count := 0
	bodies := map[string]string{}
	for lines.Scan() {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var one request
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			log.Fatal(err)
		}
		if err := one.resolve(bodies); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", one.ID, err)
		}
		got, err := asking.ask(one)
		if err != nil {
			// A request that makes the original panic ends its connection: status 0 says so.
			fmt.Fprintf(os.Stderr, "no answer to %s: %v\n", one.ID, err)
			got = answer{ID: one.ID}
		}
		bodies[one.ID] = got.Body
		encoded, err := json.Marshal(got)
		if err != nil {
			log.Fatal(err)
		}
		writer.Write(append(encoded, '\n'))
		count++
	}
	if err := lines.Err(); err != nil {
		log.Fatal(err)
	}
	if err := writer.Flush(); err != nil {
		log.Fatal(err)
	}
	fmt.Fprintf(os.Stderr, "%d requests answered\n", count)
	os.RemoveAll(folder)
	os.Exit(0)
}
