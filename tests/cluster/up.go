package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

const (
	etcdURLFile = "etcd-url"
	readyWithin = 60 * time.Second
	auditPolicy = "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules: [{level: Metadata}]\n"
)

// A child dies with the thread that started it (PR_SET_PDEATHSIG): main stays on the process's first thread, which
// lives as long as the process. So nothing is left behind, whatever ends this program.
func init() { runtime.LockOSThread() }

// up starts the three on free loopback ports and prints the path of the admin's kubeconfig once they are ready.
//
// DIRECTORY then holds kubeconfig, ca.pem, audit.log (JSON lines) and a log of each of the three. If it holds
// tokens.csv before (token,user,uid,"groups"), these users may log in as well.
func up(arguments []string) error {
	if len(arguments) < 1 {
		return errors.New("usage: up DIRECTORY [--with-stdin]")
	}
	directory, err := filepath.Abs(arguments[0])
	if err != nil {
		return err
	}
	ended := make(chan error, 8)
	watchForTheEnd(ended, len(arguments) > 1 && arguments[1] == "--with-stdin")
	plan, err := prepare(directory)
	if err != nil {
		return err
	}
	children := []*exec.Cmd{}
	defer func() {
		for _, child := range children {
			_ = child.Process.Kill()
		}
		for _, child := range children {
			_, _ = child.Process.Wait()
		}
	}()
	for _, program := range plan.programs {
		child, err := start(directory, program)
		if err != nil {
			return err
		}
		children = append(children, child)
		go reap(directory, child, ended)
		if program.readyPath == "" {
			continue
		}
		ready := make(chan error, 1)
		go func() { ready <- untilReady(plan, program.readyPath) }()
		select {
		case err := <-ready:
			if err != nil {
				return err
			}
		case err := <-ended:
			return err
		}
	}
	fmt.Println(plan.kubeconfig)
	return <-ended
}

// watchForTheEnd: a signal, or (if so asked) the end of stdin, as when the caller is gone however it went.
func watchForTheEnd(ended chan<- error, withStdin bool) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		<-signals
		ended <- nil
	}()
	if withStdin {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			ended <- nil
		}()
	}
}

// program is one of the three; the next is started once readyPath answers 200.
type program struct {
	name      string
	arguments []string
	readyPath string
}

type controlPlane struct {
	url, kubeconfig string
	client          *http.Client
	programs        []program
}

func prepare(directory string) (*controlPlane, error) {
	ports, err := freePorts(4)
	if err != nil {
		return nil, err
	}
	etcdURL := fmt.Sprintf("http://127.0.0.1:%d", ports[0])
	url := fmt.Sprintf("https://127.0.0.1:%d", ports[2])
	at := func(name string) string { return filepath.Join(directory, name) }
	pki, err := makePKI(directory, url)
	if err != nil {
		return nil, err
	}
	for name, content := range map[string]string{etcdURLFile: etcdURL, "audit-policy.yaml": auditPolicy} {
		if err := os.WriteFile(at(name), []byte(content), 0o600); err != nil {
			return nil, err
		}
	}
	apiserver := []string{
		"--etcd-servers=" + etcdURL, "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", ports[2]), "--endpoint-reconciler-type=none",
		"--client-ca-file=" + at("ca.pem"), "--tls-cert-file=" + at("server.pem"), "--tls-private-key-file=" + at("server.key"),
		"--kubelet-client-certificate=" + at("admin.pem"), "--kubelet-client-key=" + at("admin.key"),
		"--authorization-mode=RBAC", "--service-cluster-ip-range=10.96.0.0/12",
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file=" + at("accounts.key"),
		"--service-account-signing-key-file=" + at("accounts.key"),
		"--audit-policy-file=" + at("audit-policy.yaml"), "--audit-log-path=" + at("audit.log"),
	}
	if _, err := os.Stat(at("tokens.csv")); err == nil {
		apiserver = append(apiserver, "--token-auth-file="+at("tokens.csv"))
	}
	controllers := []string{
		"--kubeconfig=" + at("controllers.kubeconfig"), "--authentication-kubeconfig=" + at("controllers.kubeconfig"),
		"--authorization-kubeconfig=" + at("controllers.kubeconfig"), "--bind-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", ports[3]), "--cert-dir=" + at("controllers"), "--leader-elect=false",
		"--use-service-account-credentials=true", "--service-account-private-key-file=" + at("accounts.key"),
		"--root-ca-file=" + at("ca.pem"), "--kube-api-qps=1000", "--kube-api-burst=2000",
		// No node here is as alive as these two want it.
		"--controllers=*,-node-lifecycle-controller,-taint-eviction-controller",
	}
	return &controlPlane{url: url, kubeconfig: at("kubeconfig"), client: pki.client, programs: []program{
		{"etcd", []string{at("etcd"), etcdURL, fmt.Sprintf("http://127.0.0.1:%d", ports[1])}, ""},
		{"apiserver", apiserver, "/readyz"},
		// What the controllers do first of all is to publish the CA in each namespace.
		{"controller-manager", controllers, "/api/v1/namespaces/default/configmaps/kube-root-ca.crt"},
	}}, nil
}

func start(directory string, what program) (*exec.Cmd, error) {
	log, err := os.Create(filepath.Join(directory, what.name+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	child := exec.Command(self, append([]string{what.name}, what.arguments...)...)
	child.Stdout, child.Stderr = log, log
	// A group of its own: Ctrl-C on a terminal reaches this program alone, which ends them all.
	child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	return child, child.Start()
}

// reap tells when a child ends by itself: none should.
func reap(directory string, child *exec.Cmd, ended chan<- error) {
	if state, err := child.Process.Wait(); err == nil {
		name := child.Args[1]
		log, _ := os.ReadFile(filepath.Join(directory, name+".log"))
		ended <- fmt.Errorf("%s ended (%s); it said:\n%s", name, state, log[max(0, len(log)-4000):])
	}
}

func untilReady(plan *controlPlane, path string) error {
	last := errors.New("not asked")
	for end := time.Now().Add(readyWithin); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if last = ask(plan, path); last == nil {
			return nil
		}
	}
	return fmt.Errorf("the API server was not ready within %s: %w", readyWithin, last)
}

func ask(plan *controlPlane, path string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, plan.url+path, nil)
	if err != nil {
		return err
	}
	answer, err := plan.client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 1000))
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s %s", path, answer.Status, bytes.TrimSpace(body))
	}
	return err
}

// freePorts are found by opening them all at once and closing them again.
func freePorts(count int) ([]int, error) {
	ports := []int{}
	for range count {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer listener.Close()
		ports = append(ports, listener.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

func clientOf(ca *x509.Certificate, certificate tls.Certificate) *http.Client {
	trusted := x509.NewCertPool()
	trusted.AddCert(ca)
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{
		RootCAs: trusted, Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12,
	}}}
}
