#!/usr/bin/env bash
# A TPU slice on GKE, as a JobSet (needs kubectl, and the JobSet controller in the cluster). Usage:
#
#   NAME=whp IMAGE=IMAGE CLAIM=PVC TYPE=tpu-v5-lite-podslice TOPOLOGY=4x4 HOSTS=4 CHIPS=4 \
#       launch/gke.sh [--dry-run] run llama2_7b model=/shared/DIR run.dir=/shared/runs/mine
#
# IMAGE has jaxunlearn[tpu]; CLAIM, a volume that many hosts may write, is /shared; CHIPS: per host. A set that
# is preempted or fails restarts, at most RESTARTS (20) times, and goes on. Its output: kubectl logs -f -l job=NAME
set -euo pipefail
run=(kubectl apply -f -)
if [ "${1-}" = --dry-run ]; then shift && run=(cat); fi
for needed in NAME IMAGE CLAIM TYPE TOPOLOGY HOSTS CHIPS; do
    if [ -z "${!needed-}" ]; then echo "launch/gke.sh: set $needed; the head of the script shows a call" >&2 && exit 2; fi
done
command='"python", "-P", "-m", "jaxunlearn"'
for word in "$@"; do # in JSON's quotes; $( would be Kubernetes' own
    word=${word//\\/\\\\} && word=${word//\"/\\\"} && command+=", \"${word//\$(/\$\$(}\""
done
"${run[@]}" <<END
apiVersion: jobset.x-k8s.io/v1alpha2
kind: JobSet
metadata: {name: "$NAME", annotations: {alpha.jobset.sigs.k8s.io/exclusive-topology: cloud.google.com/gke-nodepool}}
spec:
  failurePolicy: {maxRestarts: ${RESTARTS:-20}}
  replicatedJobs:
  - name: slice
    template: {spec: {parallelism: $HOSTS, completions: $HOSTS, backoffLimit: 0, template: {
      metadata: {labels: {job: "$NAME"}}, spec: {restartPolicy: Never, terminationGracePeriodSeconds: 120,
      nodeSelector: {cloud.google.com/gke-tpu-accelerator: "$TYPE", cloud.google.com/gke-tpu-topology: "$TOPOLOGY"},
      volumes: [{name: shared, persistentVolumeClaim: {claimName: "$CLAIM"}}],
      containers: [{name: jaxunlearn, image: "$IMAGE", ports: [{containerPort: 8471}, {containerPort: 8482}],
        command: [$command], resources: {limits: {google.com/tpu: $CHIPS}},
        env: [{name: JAXUNLEARN_DISTRIBUTED, value: auto}, {name: JAXUNLEARN_PROCESSES, value: "$HOSTS"},
          {name: JAX_PLATFORMS, value: "tpu,cpu"}],
        volumeMounts: [{name: shared, mountPath: /shared}]}]}}}}
END
