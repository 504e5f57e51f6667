{{- define "scaling-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- /* Leaves room for "-controller-manager" in the 63 characters that a Service's name may have. */}}
{{- define "scaling-operator.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) }}
{{- default $full .Values.fullnameOverride | trunc 44 | trimSuffix "-" }}
{{- end }}

{{- define "scaling-operator.manager" -}}
{{ include "scaling-operator.fullname" . }}-controller-manager
{{- end }}

{{- define "scaling-operator.serviceAccountName" -}}
{{- $default := .Values.serviceAccount.create | ternary (include "scaling-operator.manager" .) "default" }}
{{- default $default .Values.serviceAccount.name }}
{{- end }}

{{- define "scaling-operator.subject" -}}
- kind: ServiceAccount
  name: {{ include "scaling-operator.serviceAccountName" . | quote }}
  namespace: {{ .Release.Namespace | quote }}
{{- end }}

{{- define "scaling-operator.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" | quote }}
app.kubernetes.io/name: {{ include "scaling-operator.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
app.kubernetes.io/part-of: natsscaler
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* The operator's pods. */}}
{{- define "scaling-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "scaling-operator.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: controller-manager
{{- end }}

{{- /* A setting of `natsscaler run`: name, value, the program's own default, for which it is left out. */}}
{{- define "scaling-operator.setting" -}}
{{- $name := index . 0 }}{{ $value := index . 1 | toString }}
{{- if ne $value (index . 2 | toString) }}
- name: NATSSCALER_{{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}

{{- /* The Secrets with the operator's own credentials, by what they are for. */}}
{{- define "scaling-operator.credentials" -}}
{{- with .Values.nats.credentialsSecret }}
nats: {{ . | quote }}
{{- end }}
{{- with .Values.monitoring.credentialsSecret }}
monitoring: {{ . | quote }}
{{- end }}
{{- end }}

{{- /* By the environment and not by flags, so that `natsscaler explain` in the pod sees the same settings. */}}
{{- define "scaling-operator.settings" -}}
{{- with .Values.operator }}
{{- if .leaderElection.enabled }}
{{- include "scaling-operator.setting" (list "LEADER_ELECT" true false) }}
{{- include "scaling-operator.setting" (list "LEADER_ELECT_LEASE_DURATION" .leaderElection.leaseDuration "15s") }}
{{- include "scaling-operator.setting" (list "LEADER_ELECT_RENEW_DEADLINE" .leaderElection.renewDeadline "10s") }}
{{- end }}
{{- include "scaling-operator.setting" (list "NAMESPACE" (join "," .namespaces) "") }}
{{- include "scaling-operator.setting" (list "HOST" .host "") }}
{{- include "scaling-operator.setting" (list "ALLOW_CROSS_NAMESPACE" .allowCrossNamespace false) }}
{{- include "scaling-operator.setting" (list "DRY_RUN" .dryRun false) }}
{{- include "scaling-operator.setting" (list "ALLOW_HOSTS" (join "," .allowHosts) "") }}
{{- $events := .events | sortAlpha | uniq | join "," | default "none" }}
{{- include "scaling-operator.setting" (list "EVENTS" $events "Advisories,Doorbell") }}
{{- include "scaling-operator.setting" (list "READ_BUDGET" .readBudget 0.05) }}
{{- include "scaling-operator.setting" (list "MONITORING_TIMEOUT" .monitoring.timeout "5s") }}
{{- include "scaling-operator.setting" (list "MONITORING_MAX_MIB" .monitoring.maxMib 64) }}
{{- include "scaling-operator.setting" (list "MONITORING_PROXY" .monitoring.proxy "") }}
{{- $metrics := .metrics.enabled | ternary .metrics.port 0 }}
{{- include "scaling-operator.setting" (list "METRICS_PORT" $metrics 8080) }}
{{- include "scaling-operator.setting" (list "PROBE_PORT" .healthProbe.port 8081) }}
{{- $activity := .activityServer.enabled | ternary .activityServer.port 0 }}
{{- include "scaling-operator.setting" (list "ACTIVITY_PORT" $activity 8082) }}
{{- include "scaling-operator.setting" (list "MAX_ACTIONS" .activityServer.maxActions 100) }}
{{- end }}
{{- range $what, $secret := include "scaling-operator.credentials" . | fromYaml }}
{{- include "scaling-operator.setting" (list (printf "%s_CREDENTIALS" (upper $what)) (printf "/etc/natsscaler/%s" $what) "") }}
{{- end }}
{{- include "scaling-operator.setting" (list "MONITORING_CREDENTIALS_HOSTS" (join "," .Values.monitoring.credentialsHosts) "") }}
{{- end }}

{{- define "scaling-operator.image" -}}
{{- with .Values.image }}
{{- .repository }}{{ with .digest }}@{{ . }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{- /* Refuses values that are each valid, but not together. */}}
{{- define "scaling-operator.validate" -}}
{{- if and (gt (int .Values.replicaCount) 1) (not .Values.operator.leaderElection.enabled) }}
{{- fail "replicaCount above 1 needs operator.leaderElection.enabled: otherwise all replicas scale at once" }}
{{- end }}
{{- if and .Values.nats.url .Values.nats.existingSecret }}
{{- fail "nats.url and nats.existingSecret are both set: choose one" }}
{{- end }}
{{- if and .Values.nats.credentialsSecret (not (or .Values.nats.url .Values.nats.existingSecret)) }}
{{- fail "nats.credentialsSecret needs nats.url: the credentials are sent to no other server" }}
{{- end }}
{{- if and .Values.monitoring.credentialsSecret (not .Values.monitoring.credentialsHosts) }}
{{- fail "monitoring.credentialsSecret needs monitoring.credentialsHosts: who gets the credentials" }}
{{- end }}
{{- if contains "@" .Values.nats.url }}
{{- fail "nats.url holds a user: put it into a Secret, and name that in nats.existingSecret" }}
{{- end }}
{{- if and .Values.serviceMonitor.enabled (not .Values.operator.metrics.enabled) }}
{{- fail "serviceMonitor.enabled needs operator.metrics.enabled" }}
{{- end }}
{{- end }}
