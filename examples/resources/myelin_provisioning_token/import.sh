# namespace/name: a token whose record is in the cluster
terraform import myelin_provisioning_token.axon synapse/axon

# namespace/name/secret/key: a value that somebody else stored; it is adopted, and nothing is minted
terraform import myelin_provisioning_token.axon synapse/axon/axon-provision/SYN_AXON_AHA_PROVISION
