package main

import (
	"bufio"
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
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	etcdURLFile = "etcd-url"
	readyWithin = 60 * time.Second
	// What the control plane asks of itself is most of its traffic, and nobody's question.
	auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - {level: None, users: ["system:apiserver", "system:kube-controller-manager"]}
  - {level: None, userGroups: ["system:serviceaccounts:kube-system"]}
  - {level: Metadata}
`
)

// A child dies with the thread that started it (PR_SET_PDEATHSIG): main stays on the process's first thread, which
// lives as long as the process. So nothing is left behind, whatever ends this program.
func init() { runtime.LockOSThread() }

// up starts the three on free loopback ports and prints the path of the admin's kubeconfig once they are ready.
//
// DIRECTORY then holds kubeconfig, ca.pem, audit.log (JSON lines) and a log of each of the three. If it holds
// tokens.csv before (token,user,uid,"groups"), these users may log in as well. With the flag, lines of stdin are
// carried out (see command), each answered by one line, and the end of stdin ends it all.
func up(arguments []string) error {
	if len(arguments) < 1 {
		return errors.New("usage: up DIRECTORY [--with-stdin]")
	}
	directory, err := filepath.Abs(arguments[0])
	if err != nil {
		return err
	}
	running := &running{directory: directory, children: map[string]*child{}, ended: make(chan error, 8)}
	defer running.stop()
	lines := make(chan string)
	watchForTheEnd(running.ended, lines, len(arguments) > 1 && arguments[1] == "--with-stdin")
	if running.plan, err = prepare(directory); err != nil {
		return err
	}
	for _, program := range running.plan.programs {
		if err := running.start(program); err != nil {
			return err
		}
	}
	fmt.Println(running.plan.kubeconfig)
	for {
		select {
		case err := <-running.ended:
			return err
		case line := <-lines:
			if err := running.command(line); err != nil {
				return err
			}
			fmt.Println(line)
		}
	}
}

// watchForTheEnd: a signal, or (if so asked) the end of stdin, as when the caller is gone however it went.
func watchForTheEnd(ended chan<- error, lines chan<- string, withStdin bool) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		<-signals
		ended <- nil
	}()
	if withStdin {
		go func() {
			for scanner := bufio.NewScanner(os.Stdin); scanner.Scan(); {
				lines <- scanner.Text()
			}
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
		"--audit-log-maxsize=10000", // megabytes: never begun anew while somebody reads it
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

// running is what runs now. Its methods belong to the main goroutine: see init.
type running struct {
	directory string
	plan      *controlPlane
	children  map[string]*child
	ended     chan error // by itself, which none should
}

type child struct {
	process *os.Process
	wanted  atomic.Bool // its end
	gone    chan struct{}
}

// command is "kill NAME", "start NAME" (done when it is ready), "pause NAME" or "continue NAME" of one of the three.
func (r *running) command(line string) error {
	verb, name, _ := strings.Cut(line, " ")
	if verb == "start" {
		for _, program := range r.plan.programs {
			if program.name == name && r.children[name] == nil {
				return r.start(program)
			}
		}
	} else if child := r.children[name]; child != nil {
		switch verb {
		case "kill":
			delete(r.children, name)
			return child.kill()
		case "pause":
			return child.process.Signal(syscall.SIGSTOP)
		case "continue":
			return child.process.Signal(syscall.SIGCONT)
		}
	}
	return fmt.Errorf("cannot %q", line)
}

func (r *running) start(what program) error {
	log, err := os.OpenFile(filepath.Join(r.directory, what.name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	command := exec.Command(self, append([]string{what.name}, what.arguments...)...)
	command.Stdout, command.Stderr = log, log
	// A group of its own: Ctrl-C on a terminal reaches this program alone, which ends them all.
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := command.Start(); err != nil {
		return err
	}
	started := &child{process: command.Process, gone: make(chan struct{})}
	r.children[what.name] = started
	go r.reap(what.name, started)
	if what.readyPath == "" {
		return nil
	}
	ready := make(chan error, 1)
	go func() { ready <- untilReady(r.plan, what.readyPath) }()
	select {
	case err := <-ready:
		return err
	case err := <-r.ended:
		return err
	}
}

func (r *running) stop() {
	for _, child := range r.children {
		_ = child.kill()
	}
}

// reap tells when a child ends by itself.
func (r *running) reap(name string, ending *child) {
	defer close(ending.gone)
	if state, err := ending.process.Wait(); err == nil && !ending.wanted.Load() {
		log, _ := os.ReadFile(filepath.Join(r.directory, name+".log"))
		r.ended <- fmt.Errorf("%s ended (%s); it said:\n%s", name, state, log[max(0, len(log)-4000):])
	}
}

// kill returns when the process is gone.
func (c *child) kill() error {
	c.wanted.Store(true)
	if err := c.process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-c.gone
	return nil
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

func clientOf(certificate tls.Certificate, authorities ...*authority) *http.Client {
	trusted := x509.NewCertPool()
	for _, each := range authorities {
		trusted.AddCert(each.certificate)
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{
		RootCAs: trusted, Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12,
	}}}
}
