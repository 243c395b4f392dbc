{{- define "agent.labels" -}}
app.kubernetes.io/name: secret-drift-agent
{{- end -}}

{{- define "agent.selected" -}}
{{ include "agent.labels" . }}
app.kubernetes.io/component: {{ eq .Values.shape "deployment" | ternary "run" "once" }}
{{- end -}}

{{- define "agent.image" -}}
{{ .Values.image.repository }}{{ with .Values.image.tag }}:{{ . }}{{ end }}{{ with .Values.image.digest }}@{{ . }}{{ end }}
{{- end -}}

{{- /* A duration of the schema, 90s or 5m, in seconds. */ -}}
{{- define "agent.seconds" -}}
{{ if hasSuffix "m" . }}{{ mul 60 (trimSuffix "m" . | int) }}{{ else }}{{ trimSuffix "s" . }}{{ end }}
{{- end -}}

{{- /* One component's rights: a ClusterRole, or a Role in each namespace, and its binding. whole: a ClusterRole in any case. */ -}}
{{- define "agent.rights" -}}
{{- $places := ternary (list) .root.Values.namespaces (default false .whole) | default (list "") -}}
{{- range $place := $places }}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ if $place }}Role{{ else }}ClusterRole{{ end }}
metadata:
  name: {{ $.name }}
  {{- with $place }}
  namespace: {{ . }}
  {{- end }}
  labels: {{- include "agent.labels" $.root | nindent 4 }}
rules: {{- $.rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ if $place }}RoleBinding{{ else }}ClusterRoleBinding{{ end }}
metadata:
  name: {{ $.name }}
  {{- with $place }}
  namespace: {{ . }}
  {{- end }}
  labels: {{- include "agent.labels" $.root | nindent 4 }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: {{ if $place }}Role{{ else }}ClusterRole{{ end }}, name: {{ $.name }}}
subjects:
  - {kind: ServiceAccount, name: secret-drift-agent, namespace: {{ $.root.Release.Namespace }}}
---
{{ end }}
{{- end -}}

{{- define "agent.arguments" -}}
{{- range .Values.namespaces }}
- -n
- {{ . }}
{{- end }}
{{- if .Values.metrics.tlsSecret }}
- --tls-cert=/etc/metrics-tls/tls.crt
- --tls-key=/etc/metrics-tls/tls.key
{{- end }}
{{- if .Values.metrics.tokenSecret }}
- --metrics-token-file=/etc/metrics-token/token
{{- end }}
{{- if .Values.pushgateway.caSecret }}
- --push-gateway-ca=/etc/pushgateway-ca/ca.crt
{{- end }}
{{- if .Values.pushgateway.tokenSecret }}
- --push-gateway-token-file=/etc/pushgateway-token/token
{{- end }}
{{- with .Values.extraArgs }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "agent.probe" -}}
{{ if .Values.metrics.tlsSecret }}, scheme: HTTPS{{ end }}
{{- end -}}

{{- /* What the pods of both shapes have in common. */ -}}
{{- define "agent.podLabels" -}}
{{ include "agent.selected" . }}
{{- if .Values.workloadIdentity.enabled }}
azure.workload.identity/use: "true"
{{- end }}
{{- with .Values.podLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "agent.podMetadata" -}}
labels: {{- include "agent.podLabels" . | nindent 2 }}
{{- if or .Values.podAnnotations .Values.workloadIdentity.enabled }}
annotations:
  {{- if .Values.workloadIdentity.enabled }}
  secret-drift-agent/client-id: {{ .Values.workloadIdentity.clientId }}  # pods learn of another id when they start, only
  {{- end }}
  {{- with .Values.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "agent.podSpec" -}}
serviceAccountName: secret-drift-agent
automountServiceAccountToken: true
enableServiceLinks: false
terminationGracePeriodSeconds: 60
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
volumes:
  - name: policy
    configMap: {name: secret-drift-agent-policy}
{{- with .Values.metrics.tlsSecret }}
  - name: metrics-tls
    secret: {secretName: {{ . }}}
{{- end }}
{{- with .Values.metrics.tokenSecret }}
  - name: metrics-token
    secret: {secretName: {{ . }}}
{{- end }}
{{- with .Values.pushgateway.caSecret }}
  - name: pushgateway-ca
    secret: {secretName: {{ . }}}
{{- end }}
{{- with .Values.pushgateway.tokenSecret }}
  - name: pushgateway-token
    secret: {secretName: {{ . }}}
{{- end }}
{{- with .Values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "agent.container" -}}
image: {{ include "agent.image" . | quote }}
{{- with .Values.image.pullPolicy }}
imagePullPolicy: {{ . }}
{{- end }}
env:
  - name: SECRET_DRIFT_AGENT_NAMESPACE
    valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
  - name: POD_NAME  # a container that is started again in its pod goes on at once
    valueFrom: {fieldRef: {fieldPath: metadata.name}}
{{- with .Values.pushgateway.url }}
  - name: SECRET_DRIFT_PUSH_GATEWAY
    value: {{ . | quote }}
{{- end }}
{{- with .Values.pushgateway.group }}
  - name: SECRET_DRIFT_PUSH_GROUP
    value: {{ . | quote }}
{{- end }}
{{- if .Values.managedIdentity.enabled }}
{{- with .Values.managedIdentity.clientId }}
  - name: AZURE_CLIENT_ID
    value: {{ . | quote }}
{{- end }}
{{- end }}
{{- with .Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.extraEnvFrom }}
envFrom: {{- toYaml . | nindent 2 }}
{{- end }}
resources: {{- toYaml .Values.resources | nindent 2 }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
volumeMounts:
  - {name: policy, mountPath: /etc/secret-drift-agent, readOnly: true}
{{- if .Values.metrics.tlsSecret }}
  - {name: metrics-tls, mountPath: /etc/metrics-tls, readOnly: true}
{{- end }}
{{- if .Values.metrics.tokenSecret }}
  - {name: metrics-token, mountPath: /etc/metrics-token, readOnly: true}
{{- end }}
{{- if .Values.pushgateway.caSecret }}
  - {name: pushgateway-ca, mountPath: /etc/pushgateway-ca, readOnly: true}
{{- end }}
{{- if .Values.pushgateway.tokenSecret }}
  - {name: pushgateway-token, mountPath: /etc/pushgateway-token, readOnly: true}
{{- end }}
{{- with .Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
