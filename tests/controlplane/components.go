package main

// What each component of the control plane is started with. Without a node
// nothing here listens beyond loopback.

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const (
	etcd              = "etcd"
	apiServer         = "kube-apiserver"
	controllerManager = "kube-controller-manager"
)

// startOrder is also the order in which each needs the one before it.
var startOrder = []string{etcd, apiServer, controllerManager}

// The controllers that tests and the operator need: what a namespace, an owner
// reference, a ServiceAccount, an aggregated ClusterRole and an admission
// policy do on any cluster. No pod ever runs here.
var controllers = strings.Join([]string{
	"namespace-controller",
	"garbage-collector-controller",
	"serviceaccount-controller",
	"root-ca-certificate-publisher-controller",
	"clusterrole-aggregation-controller",
	"validatingadmissionpolicy-status-controller",
}, ",")

// auditPolicy records who did what, without bodies: tests count writes. The
// control plane's own work and its health checks are left out.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  users: ["system:apiserver"]
- level: None
  nonResourceURLs: ["/healthz*", "/readyz*", "/livez*", "/openapi*", "/version", "/api", "/apis"]
- level: Metadata
`

// ports are reserved for the life of the control plane.
type ports struct{ etcd, peer, api, manager int }

func reservePorts() (p ports, err error) {
	for _, port := range []*int{&p.etcd, &p.peer, &p.api, &p.manager} {
		if *port, err = reservePort(); err != nil {
			return p, err
		}
	}
	return p, nil
}

func url(scheme string, port int) string { return fmt.Sprintf("%s://127.0.0.1:%d", scheme, port) }

// arguments gives a component's command line; files are in dir (see prepare).
func arguments(name, dir string, p ports, n node) []string {
	file := func(name string) string { return filepath.Join(dir, name) }
	switch name {
	case etcd:
		client, peer := url("http", p.etcd), url("http", p.peer)
		return []string{
			"--name=controlplane", "--data-dir=" + file("etcd"), "--unsafe-no-fsync", "--log-level=warn",
			"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
			"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer,
			"--initial-cluster=controlplane=" + peer, "--socket-reuse-port",
		}
	case apiServer:
		return append([]string{
			"--etcd-servers=" + url("http", p.etcd),
			fmt.Sprintf("--secure-port=%d", p.api), "--permit-port-sharing",
			"--client-ca-file=" + file("ca.crt"),
			"--tls-cert-file=" + file("server.crt"), "--tls-private-key-file=" + file("server.key"),
			"--service-account-issuer=https://kubernetes.default.svc",
			"--api-audiences=https://kubernetes.default.svc",
			"--service-account-key-file=" + file("sa.pub"),
			"--service-account-signing-key-file=" + file("sa.key"),
			"--service-cluster-ip-range=10.0.0.0/24",
			"--audit-policy-file=" + file("audit-policy.yaml"), "--audit-log-path=" + file("audit.log"),
			"--audit-log-format=json", "--audit-log-mode=blocking",
			"--audit-log-maxsize=2000", "--profiling=false",
		}, n.apiServer(file)...)
	case controllerManager:
		return []string{
			"--kubeconfig=" + file("controller-manager.kubeconfig"),
			"--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", p.manager), "--permit-port-sharing",
			"--tls-cert-file=" + file("server.crt"), "--tls-private-key-file=" + file("server.key"),
			"--service-account-private-key-file=" + file("sa.key"), "--root-ca-file=" + file("ca.crt"),
			"--use-service-account-credentials", "--leader-elect=false", "--controllers=" + n.controllers(),
			// Tests wait for these controllers; the usual 20 per second would show.
			"--kube-api-qps=200", "--kube-api-burst=400", "--profiling=false",
		}
	default:
		return n.arguments(name, file)
	}
}

// prepare writes every file the components read and the administrator's
// kubeconfig, and returns what is needed to talk to the API server.
func prepare(dir string, p ports, n node) (ca []byte, admin pair, err error) {
	authority, err := newAuthority()
	if err != nil {
		return nil, pair{}, err
	}
	server, err := authority.server(n.address)
	if err != nil {
		return nil, pair{}, err
	}
	manager, err := authority.client("controller-manager")
	if err != nil {
		return nil, pair{}, err
	}
	admin, err = authority.client("admin")
	if err != nil {
		return nil, pair{}, err
	}
	private, public, err := serviceAccountKeys()
	if err != nil {
		return nil, pair{}, err
	}
	for name, content := range map[string][]byte{
		"ca.crt": authority.pem, "server.crt": server.cert, "server.key": server.key,
		"sa.key": private, "sa.pub": public, "audit-policy.yaml": []byte(auditPolicy),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return nil, pair{}, err
		}
	}
	api := url("https", p.api)
	for name, client := range map[string]pair{"admin": admin, "controller-manager": manager} {
		path := filepath.Join(dir, name+".kubeconfig")
		if err := writeKubeconfig(path, api, authority.pem, name, client); err != nil {
			return nil, pair{}, err
		}
	}
	return authority.pem, admin, n.prepare(dir, authority, admin, api)
}
