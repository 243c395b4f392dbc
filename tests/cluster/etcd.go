package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
)

// serveEtcd serves until the process ends. Nothing of it is meant to outlive the machine: no fsync.
func serveEtcd(arguments []string) error {
	if len(arguments) != 3 {
		return fmt.Errorf("usage: etcd DIRECTORY CLIENT-URL PEER-URL")
	}
	client, err := url.Parse(arguments[1])
	if err != nil {
		return err
	}
	peer, err := url.Parse(arguments[2])
	if err != nil {
		return err
	}
	config := embed.NewConfig()
	config.Dir, config.UnsafeNoFsync, config.LogLevel = arguments[0], true, "warn"
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{*client}, []url.URL{*client}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{*peer}, []url.URL{*peer}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	server, err := embed.StartEtcd(config)
	if err != nil {
		return err
	}
	return <-server.Err()
}

// compact makes etcd forget the past at once, as the API server has it do every five minutes.
func compact(arguments []string) error {
	if len(arguments) != 1 {
		return fmt.Errorf("usage: compact DIRECTORY")
	}
	endpoint, err := os.ReadFile(filepath.Join(arguments[0], etcdURLFile))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{strings.TrimSpace(string(endpoint))}, Context: ctx})
	if err != nil {
		return err
	}
	defer client.Close()
	now, err := client.Get(ctx, "no-such-key")
	if err != nil {
		return err
	}
	_, err = client.Compact(ctx, now.Header.Revision, clientv3.WithCompactPhysical())
	return err
}
