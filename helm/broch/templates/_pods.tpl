{{/* What every pod of the release is: an ordinary user, nothing of the node, nothing of the API unless asked for.
     broch.pod (dict "root" $ "component" "web" "account" "web" "token" false) */}}
{{- define "broch.pod" -}}
serviceAccountName: {{ include "broch.name" (list .root .account) }}
automountServiceAccountToken: {{ .token }}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 1000
  runAsGroup: 1000
  fsGroup: 1000
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .root.Values.images.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- include "broch.placement" .root }}
{{- $labels := include "broch.selector" (list .root .component) }}
{{- if eq .root.Values.antiAffinity "required" }}
affinity:
  podAntiAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: kubernetes.io/hostname
        # Of one revision: else an upgrade wants a node more than there are replicas, and waits for it for ever.
        matchLabelKeys: [pod-template-hash]
        labelSelector:
          matchLabels: {{- $labels | nindent 12 }}
{{- else if eq .root.Values.antiAffinity "preferred" }}
affinity:
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          matchLabelKeys: [pod-template-hash]
          labelSelector:
            matchLabels: {{- $labels | nindent 14 }}
{{- end }}
{{- end }}

{{/* Where every pod of the release runs. */}}
{{- define "broch.placement" -}}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{- define "broch.confined" -}}
securityContext:
  allowPrivilegeEscalation: false
  capabilities: {drop: [ALL]}
  privileged: false
  readOnlyRootFilesystem: true
  runAsNonRoot: true
{{- end }}

{{/* Volumes that most components have: broch.volumes (dict "root" $ "component" "hub" "tokens" (list "hub")) */}}
{{- define "broch.volumes" -}}
- name: tls
  secret: {secretName: {{ include "broch.tlsSecret" (list .root .component) }}, defaultMode: 0440}
- name: tmp
  emptyDir: {sizeLimit: {{ .tmp | default "256Mi" }}}
{{- with .tokens }}
- name: tokens
  secret:
    secretName: {{ include "broch.tokens" $.root }}
    defaultMode: 0440
    items:
    {{- range . }}
      - {key: {{ . }}, path: {{ . }}}
    {{- end }}
{{- end }}
{{- end }}

{{- define "broch.mounts" -}}
- {name: tls, mountPath: /etc/broch/tls, readOnly: true}
- {name: tmp, mountPath: /tmp}
{{- if .tokens }}
- {name: tokens, mountPath: /etc/broch/secrets, readOnly: true}
{{- end }}
{{- end }}

{{/* Anew when its own settings change: broch.checksum (list $ "web") */}}
{{- define "broch.checksum" -}}
{{- $name := include "broch.name" . }}
{{- range splitList "\n---\n" (include (print (index . 0).Template.BasePath "/settings.yaml") (index . 0)) }}
{{- $made := fromYaml . }}
{{- if eq $made.metadata.name $name }}{{ $made.data | toJson | sha256sum }}{{ end }}
{{- end }}
{{- end }}

{{/* Anew when what it read at its start has another revision: broch.revision (list $ "tokens" "database") */}}
{{- define "broch.revision" -}}
{{- $root := index . 0 }}
{{- $seen := list }}
{{- range rest . }}{{ $seen = append $seen (printf "%s-%d" . (int64 (index $root.Values .).revision)) }}{{ end }}
{{- join "." $seen }}
{{- end }}

{{- define "broch.account" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  {{- include "broch.metadata" . | nindent 2 }}
  {{- with (index (index . 0).Values (index . 1) | default dict).serviceAccount }}
  {{- with .annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
automountServiceAccountToken: false
{{- end }}

{{- define "broch.budget" -}}
{{- if (index . 0).Values.podDisruptionBudgets }}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {{- include "broch.metadata" . | nindent 2 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels: {{- include "broch.selector" . | nindent 6 }}
{{- end }}
{{- end }}

{{/* broch.claim (list $ "web" storage accessMode) */}}
{{- define "broch.claim" -}}
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  {{- include "broch.metadata" . | nindent 2 }}
  # Deleting the release must not delete keys and data.
  annotations: {helm.sh/resource-policy: keep}
spec:
  accessModes: [{{ index . 3 }}]
  {{- with (index . 2).storageClass }}
  storageClassName: {{ . }}
  {{- end }}
  resources:
    requests: {storage: {{ (index . 2).size }}}
{{- end }}
